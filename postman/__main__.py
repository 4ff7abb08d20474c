"""`python -m postman`: write the collection and its environment."""

from postman import collection

for path, text in collection.files().items():
    path.write_text(text)
