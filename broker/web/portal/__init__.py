"""The browser's page. Rendered here, works without JavaScript, loads nothing from elsewhere."""
