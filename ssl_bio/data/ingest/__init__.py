"""From a publisher's archive to a prepared dataset."""
