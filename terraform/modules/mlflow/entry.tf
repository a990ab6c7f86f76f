# The way to MLflow: TLS at an internal load balancer, under a name that this network alone resolves.
resource "aws_lb" "mlflow" {
  #checkov:skip=CKV_AWS_91:MLflow logs its requests
  #checkov:skip=CKV_AWS_150:deletion protection is a variable, true by default
  name                       = "${local.name}-mlflow"
  internal                   = true
  load_balancer_type         = "application"
  subnets                    = var.subnet_ids
  security_groups            = [var.security_group_ids["mlflow-entry"]]
  drop_invalid_header_fields = true
  enable_deletion_protection = var.protect_data
}

resource "aws_lb_target_group" "mlflow" {
  #checkov:skip=CKV_AWS_378:TLS ends at the load balancer, inside the private network
  name        = "${local.name}-mlflow"
  port        = 5000
  protocol    = "HTTP"
  target_type = "ip"
  vpc_id      = var.vpc_id
  health_check {
    path    = "/health"
    matcher = "200"
  }
}

resource "aws_lb_listener" "mlflow" {
  load_balancer_arn = aws_lb.mlflow.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.tls.certificate_arn
  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.mlflow.arn
  }
}

# The certificate's name, resolved inside the network only.
resource "aws_route53_zone" "mlflow" {
  #checkov:skip=CKV2_AWS_38:DNSSEC is for public zones
  #checkov:skip=CKV2_AWS_39:a private zone of one name has no queries worth logging
  name = local.hostname
  vpc {
    vpc_id = var.vpc_id
  }
  lifecycle {
    # the network from which people come, such as a VPN's, may be associated too
    ignore_changes = [vpc]
  }
}

resource "aws_route53_record" "mlflow" {
  zone_id = aws_route53_zone.mlflow.zone_id
  name    = local.hostname
  type    = "A"
  alias {
    name                   = aws_lb.mlflow.dns_name
    zone_id                = aws_lb.mlflow.zone_id
    evaluate_target_health = false
  }
}
