"""The paper's figures anew, and what the same devices can do beyond them."""
