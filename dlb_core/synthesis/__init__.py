"""Images made from anatomy: training pairs and the demo patient."""
