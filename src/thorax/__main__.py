"""`python -m thorax`."""

from thorax.cli import main

if __name__ == "__main__":
    main()
