"""What makes files of the repository; no part of the service, and not in the wheel."""
