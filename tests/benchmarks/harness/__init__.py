"""What every benchmark uses: a crew, its actors and model, the machine's own figures, rows and the table."""
