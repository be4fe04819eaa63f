from pathlib import Path

from docs_site.figures import write

write(Path(__file__).resolve().parents[2])
