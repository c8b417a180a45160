"""Write the page that shows what the recipe made."""

from bezoar.page.block import Page
from bezoar.page.page import write_page
from bezoar.script import Flags, run


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("out", "file to write the page to")
    args, page = flags.start(argv, page=Page)
    write_page(page, args.out)


if __name__ == "__main__":
    run(main)
