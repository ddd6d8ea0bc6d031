"""What defends a number: a second implementation, explain, audit, export, doctor."""
