"""`python -m graft`, and the command `graft`."""

from service.cli import main

if __name__ == "__main__":
    main(prog_name="graft")
