"""One file a dataset; `ssl_bio.data.registry` lists them by name."""
