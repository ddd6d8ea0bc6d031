"""Commands that defend a number: audit, explain, export and doctor, and a second implementation."""
