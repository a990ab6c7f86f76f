"""Moving aliases: one way for promotions, rollbacks and whatever was moved outside of the tool."""
