"""What hears the sounds that are measured: one network a file, each behind the face of face.py."""
