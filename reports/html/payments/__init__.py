"""A program with mistakes, whose traces are the pictures in the README."""
