"""`narrows report RUN`: the page of a finished run, written again."""

from pathlib import Path

from narrows.cli import parsing, trained


def run(arguments: list[str]) -> None:
    """Writes `report.html` of a run, such as one that was killed before it had its page."""
    from narrows.compare.pages.run import write_one

    parser = parsing.parser("report", "Write the page of a finished run again.")
    trained.add_options(parser)
    config = parsing.parse(parser, arguments)
    loaded, data = trained.load(config)
    print(f"report: {write_one(loaded, data, folder=Path(config.run))}")
