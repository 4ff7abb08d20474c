"""The wires that leave the machine."""
