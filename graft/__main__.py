"""The command `graft`; `python -m graft` is the same in a source tree that is not installed."""

from service.cli import main

if __name__ == "__main__":
    main(prog_name="graft")
