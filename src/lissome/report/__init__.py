"""What is told about networks: values with a table, each in a file of its own."""
