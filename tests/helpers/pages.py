"""``scripts/docs``: writes what is made from the code into the pages."""

from __future__ import annotations

from helpers import compatibility_page, settings_page

if __name__ == "__main__":
    settings_page.PAGE.write_text(settings_page.page())
    compatibility_page.PAGE.write_text(compatibility_page.filled(compatibility_page.PAGE.read_text()))
