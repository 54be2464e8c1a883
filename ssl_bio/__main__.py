"""`python -m ssl_bio`, the same as `ssl-bio`."""

from ssl_bio.cli import main

if __name__ == "__main__":
    main()
