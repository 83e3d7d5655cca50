"""What HTTP needs and what knows nothing of voices: parameters, formats, recordings, metrics and protocols.

Nothing here imports server.py or torch: what a module needs of them is handed to it.
"""
