"""Results: one typed document for each verb, which writes its file and reads it, and how documents become Markdown.

Documents hold plain figures. The rooms above fill them; nothing here measures.
"""
