"""`python -m amg_cli` is `amg`."""

from amg_cli.cli.main import main

if __name__ == "__main__":
    main(prog_name="amg")
