"""`python -m service.cli`, for source trees that are not installed."""

from service.cli import main

main(prog_name="graft")
