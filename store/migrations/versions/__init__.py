"""One module per version of the schema, oldest first: `v0001_first_schema`."""
