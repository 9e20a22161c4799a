"""How the bundled models were trained on the drawn world, and the fusion fitted."""
