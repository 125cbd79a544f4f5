"""The guide: Markdown pages that ship with the package; `pages` finds them.

`index.md` is the table of contents. A page is there once, and its file name is its topic.
"""
