"""`python -m gateway`: the same as `networkcore`."""

from gateway.cli.main import main

if __name__ == "__main__":
    main()
