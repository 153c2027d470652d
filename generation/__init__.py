"""What any text-to-audio generator needs: data, conditioners, names, re-ranking, a page, evaluation. Knows no model."""
