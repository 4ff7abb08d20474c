"""What the server decides: plain functions over the model. No Flask, no HTTP."""
