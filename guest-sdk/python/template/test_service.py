"""Unit tests of the service, under an ordinary Python: no node is needed."""

import unittest

from isomer.testing import MockBroker
from service import Service


class Hello(unittest.TestCase):
    def test_it_greets_and_tells(self):
        mock = MockBroker()
        self.assertEqual(mock.call(Service(), "hello", {"name": "Ada"}), "Hello, Ada!")
        self.assertEqual(mock.events[0].name, "{{name}}.greeted")


if __name__ == "__main__":
    unittest.main()
