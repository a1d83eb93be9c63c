"""What makes the documentation: the reference pages out of the code, and the site's navigation."""
