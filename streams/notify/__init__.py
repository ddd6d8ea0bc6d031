"""Takes Alertmanager's notifications; sends messages to Slack, PagerDuty, mail and a webhook."""
