"""The Postman collection: generated from the API document, run by newman."""
