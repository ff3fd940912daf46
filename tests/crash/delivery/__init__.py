"""Publishers, subscribers of every kind and the checks of ``test_delivery``."""
