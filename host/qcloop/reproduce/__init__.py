"""The paper's figures made again, and what the same devices can do beyond them."""
