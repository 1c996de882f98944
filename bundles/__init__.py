"""The source bundles: configurations only, which name, number and connect what `medssl` holds."""
