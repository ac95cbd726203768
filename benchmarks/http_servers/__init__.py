"""HTTP servers under the same small application: their speed, and what hostile or unlucky clients do to them."""
