"""OpenIGTLink: messages, server and client."""
