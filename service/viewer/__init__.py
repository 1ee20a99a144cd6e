"""The pages for people: upload form, progress, viewer; and a viewer for a folder of results."""
