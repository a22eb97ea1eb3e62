"""Object stores: s3://, gs:// and hf:// addresses, through fsspec. Only this room imports fsspec."""
