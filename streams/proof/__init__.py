"""What defends a number: audit, explain, export, doctor."""
