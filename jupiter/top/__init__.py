"""`jupiter-ctl top`: looks at the service again and again, and shows what the differences are."""
