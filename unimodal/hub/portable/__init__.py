"""A folder that transformers loads with `trust_remote_code=True`, its code inside.

Importing this package registers the classes: where unimodal is installed, no such flag is needed.
"""

from unimodal.hub.portable.register import register

register()
