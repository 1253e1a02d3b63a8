"""The models that PPD is measured beside."""
