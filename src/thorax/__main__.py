"""`python -m thorax`."""

from thorax.cli.app import main

if __name__ == "__main__":
    main()
