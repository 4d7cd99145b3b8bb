"""``python -m rao_envs``: the command line."""

from rao_envs.cli import main

if __name__ == "__main__":
    main()
