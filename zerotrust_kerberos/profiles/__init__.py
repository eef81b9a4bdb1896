"""``zerotrust configure``: a profile in ``~/.aws/config`` for every role that one may have.

Text in, text out: ``text`` reads the file as the AWS tools do, ``block`` is the part of it that is ours, ``names`` makes names,
``plan`` says what is to stand in the block, ``tools`` and ``adopt`` take over what aws-vault, saml2aws and granted left, and only
``place`` touches the disk.
"""
