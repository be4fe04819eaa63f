-- Completions by `albor lsp`. Neovim 0.12 and later show them behind the cursor; 0.11 has them in its menu.
--
-- Copy this file to ~/.config/nvim/lua/albor.lua, and add to init.lua:
--
--   require('albor').setup({ options = { url = 'http://127.0.0.1:8000' } })
local M = {}

M.defaults = {
  cmd = { 'albor', 'lsp' },
  accept = '<Tab>', -- takes the suggestion, and does what it did where there is none; false maps no key
  -- url, model, keyEnv, maxTokens, debounceMs, multiline, contextCharacters. Neovim waits for a pause itself.
  options = { debounceMs = 0 },
}

local function keys(text)
  return vim.api.nvim_replace_termcodes(text, true, true, true)
end

-- What a key did before it was mapped here, as maparg() tells it.
local function as_before(key, mapping)
  if mapping.expr == 1 then
    local typed = mapping.callback and mapping.callback() or vim.api.nvim_eval(mapping.rhs)
    return mapping.replace_keycodes == 1 and keys(typed or '') or typed or ''
  elseif mapping.callback then
    vim.schedule(mapping.callback)
    return ''
  end
  return keys(mapping.rhs or key)
end

-- Lets a key take the suggestion in insert mode, or do what it did where there is none.
function M.map(key)
  local before = vim.fn.maparg(key, 'i', false, true)
  vim.keymap.set('i', key, function()
    return vim.lsp.inline_completion.get() and '' or as_before(key, before)
  end, { expr = true, replace_keycodes = false, remap = before.noremap == 0, desc = 'Take the suggestion' })
end

function M.setup(given)
  local config = vim.tbl_deep_extend('force', M.defaults, given or {})
  local inline = vim.lsp.inline_completion ~= nil
  vim.lsp.config('albor', {
    cmd = config.cmd,
    filetypes = { 'python' },
    root_markers = { 'pyproject.toml', 'setup.py', '.git' },
    init_options = config.options,
  })
  vim.api.nvim_create_autocmd('LspAttach', {
    group = vim.api.nvim_create_augroup('albor', {}),
    callback = function(event)
      local client = vim.lsp.get_client_by_id(event.data.client_id)
      if client and client.name == 'albor' then
        vim.lsp.completion.enable(true, client.id, event.buf, { autotrigger = not inline })
        if inline then
          vim.lsp.inline_completion.enable(true, { bufnr = event.buf, client_id = client.id })
        end
      end
    end,
  })
  vim.lsp.enable('albor')
  if inline and config.accept then
    M.map(config.accept)
  end
end

return M
