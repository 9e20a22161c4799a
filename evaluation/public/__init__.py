"""Public data that anyone can measure rare tags on, fetched by its published addresses."""
